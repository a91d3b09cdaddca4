"""VAT: which rule, whose rate, who pays it. Dated facts in, a decision out."""
