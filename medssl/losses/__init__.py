"""Losses: tensors in, one scalar tensor out.

Every loss module returns a scalar, so that any of them can be minimised as it is, in medssl's engines, in MONAI's
trainer or in a loop of your own. Terms worth logging are a second question, which the modules that have them answer by
``terms`` (`medssl.losses.named.WeightedTerms`); named losses are what methods return.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
