"""The form of every file in results/, and what is made of all of them."""
