"""What is made of prompts and masks: instances of boxes, edges."""
