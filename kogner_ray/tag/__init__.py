"""Whole corpora through the Tagger, on Ray Data: resumable, nothing lost, nothing twice.

    inputs    what is to be tagged, each with the name of its shard
    chunks    an input cut into chunks, always at the same records: the rows of the Dataset
    worker    an actor: tags a chunk, writes it as one file under its own name
    finish    the chunks of an input, all there, become one file of documents and one of failures
    convert   that file in other formats
    manifest  who claimed the output folder, and what is done
    corpus    `tag_corpus`, which puts them together

**Exactly once.** A chunk's file appears whole, holds its documents and its failures, and is its own mark of being done;
so there is no moment in which one is there without the other, and writing it again changes nothing. Ray Data's job
checkpoints keep the mark (ids of rows) and the data in two files and name both after the attempt. They are made to agree
when the next attempt starts, but a task of a killed attempt that is still writing by then leaves its rows twice; they also
keep all ids in memory and filter them in an actor that needs a CPU of its own. Here they are left off.
"""
