"""The nouns of the house: what every room speaks of, with no knowledge of any room."""
