"""Controlled studies: variants of one recipe, each trained from several seeds, compared pair by pair."""
