"""What a layer makes of adversaries that were led to guides: are they among the guide's class?"""
