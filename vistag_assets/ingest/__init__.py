"""Ingest: image files to decoded, upright working copies (proxies), and rejects with their reasons."""
