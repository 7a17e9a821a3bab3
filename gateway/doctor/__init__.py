"""What is wrong with an installation, hop by hop, and what to do about it."""
