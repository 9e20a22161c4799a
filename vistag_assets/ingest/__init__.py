"""From files to images, rejects and proxies."""
