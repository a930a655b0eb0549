"""Whole corpora through the Tagger, on Ray Data: resumable, nothing lost, nothing twice.

    output    the output folder, local or on an object store; files appear whole
    manifest  whose folder it is, and what is done
    chunks    inputs cut into chunks, always at the same records: the rows of the Dataset
    tables    the shape of what is written
    worker    an actor: tags a chunk, writes it as one file under its own name
    pool      the pipeline: chunks through an autoscaling pool of actors
    board     which chunks of which inputs are there
    finish    the chunks of an input, all there, become a file of documents and one of failures
    finishing the same in Ray tasks, beside the tagging
    convert   the documents of an input in another format
    limit     when so many failed that the run stops
    corpus    `tag_corpus`, which puts them together

**Exactly once.** A chunk's file appears whole, holds its documents and its failures, and is its own mark of being done:
at no moment is one there without the other, and writing it again changes nothing. Ray Data's job checkpoints keep the
mark (ids of rows) and the data in two files, both named after the attempt. The next attempt makes them agree, but a
task of a killed attempt that is still writing by then leaves its rows twice; a resumed run also holds all ids in memory
and filters them in an actor that needs a CPU of its own; and files are not named by input. So they are left off here.
"""
