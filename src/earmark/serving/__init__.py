"""Serving: what a browser, or another program, asks this machine for."""
