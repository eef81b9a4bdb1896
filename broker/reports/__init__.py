"""What an auditor is shown: controls of a standard, each with the evidence for it, and what is no evidence said as plainly."""
