"""The command `undim`: one file per verb, and `main` in front of them."""
