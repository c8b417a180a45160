"""Whether rows of a mix repeat evaluation items: words, the index of items, targets, and the certificate of a mix."""
