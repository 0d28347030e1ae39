"""Trains a Keras model on the kept columns, as the transform makes them."""
