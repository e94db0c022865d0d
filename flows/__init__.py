"""The flows: what runs, and in what order; and the command line over them."""
