"""Engines run a stage over shards with an actor that loads its model once. `local`: processes on this machine."""
