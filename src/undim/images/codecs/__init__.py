"""One file per picture format, and what several of them stand on."""
