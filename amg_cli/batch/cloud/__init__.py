"""Outputs at addresses: made on this disk, sent, and recorded there."""
