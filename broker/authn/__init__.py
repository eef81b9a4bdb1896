"""Who is asking: from bytes in a header to an exact principal, or a refusal."""
