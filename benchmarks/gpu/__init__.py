"""What training and scoring give on a GPU, checked and timed: `python -m benchmarks.gpu`."""
