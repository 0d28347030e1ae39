"""Preprocessing for neural networks by TensorFlow Transform, from Arrow batches."""
