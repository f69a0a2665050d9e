"""Image and semantic-map models: joint source–channel coding, the image prior, and understanding of scenes."""
