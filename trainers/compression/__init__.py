"""The jobs of `compress`: fit a codec, encode, decode, and measure codecs against each other."""
