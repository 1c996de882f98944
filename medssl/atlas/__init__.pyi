from .affine import affine_of_displacements as affine_of_displacements
from .carry import carried_logits as carried_logits
from .descriptor import self_similarity as self_similarity
from .discrete import coupled_displacements as coupled_displacements
from .discrete import match_costs as match_costs
from .maps import RegistrationMaps as RegistrationMaps
from .refine import refine_displacements as refine_displacements
from .registration import register as register
