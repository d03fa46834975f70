"""Networks of the published architectures with made weights, for models whose authentic weights are nobody's to share.

Graphs, names of inputs and outputs, and spellings are those of the published files as far as they are known; every
docstring says what is not. The weights are one block of seeded noise, repeated: 65 million numbers are there in a
moment, and no two filters of a layer are alike.
"""
