"""From decoded frames to the input pictures of networks: resized and cropped, or as optical flow."""
