"""The heap of a running Go program, read from outside its memory."""
