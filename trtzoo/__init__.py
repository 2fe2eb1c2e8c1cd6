"""A TensorRT engine builder and benchmark command line for the DenseNet and DPN image classifiers."""
