/** A text to begin with. */
export const EXAMPLE =
  "A 64-year-old woman with type 2 diabetes and chronic kidney disease was treated with metformin and empagliflozin. "
  + "After a myocardial infarction she received aspirin, clopidogrel and atorvastatin. Two years later a "
  + "non-small cell lung cancer with an EGFR exon 19 deletion was found, and osimertinib was started; "
  + "resistance emerged with MET amplification. Warfarin was avoided because of a gastrointestinal hemorrhage.";
