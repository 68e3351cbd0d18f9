"""Commands that write files others read: codes as bytes, images, exported programs."""
