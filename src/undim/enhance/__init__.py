"""Enhancing pictures: one picture, or folders of them."""
