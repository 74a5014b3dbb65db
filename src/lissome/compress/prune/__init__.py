"""Pruning: which weights are removed. One criterion a file."""

from lissome.compress.prune.admm import ADMM
from lissome.compress.prune.brain_damage import BrainDamage
from lissome.compress.prune.channel_lasso import ChannelLasso
from lissome.compress.prune.energy_aware import EnergyAware
from lissome.compress.prune.fisher import Fisher
from lissome.compress.prune.group_lasso import GroupLasso
from lissome.compress.prune.lamp import Lamp
from lissome.compress.prune.load_balanced import LoadBalanced
from lissome.compress.prune.magnitude import Magnitude
from lissome.compress.prune.movement import Movement
from lissome.compress.prune.n_of_m import NofM
from lissome.compress.prune.random import Random
from lissome.compress.prune.sparse_gpt import SparseGPT
from lissome.compress.prune.surgery import Surgery
from lissome.compress.prune.taylor import Taylor

__all__ = [
    "ADMM",
    "BrainDamage",
    "ChannelLasso",
    "EnergyAware",
    "Fisher",
    "GroupLasso",
    "Lamp",
    "LoadBalanced",
    "Magnitude",
    "Movement",
    "NofM",
    "Random",
    "SparseGPT",
    "Surgery",
    "Taylor",
]
