"""Commands whose results others use or see: files of codes, images, exported programs, pages."""
