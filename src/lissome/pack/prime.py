"""What the text coder has read before it reads a file: part of the format, so it never changes within a version.

HEADER is the sort of text that headers are; REALS the sort of byte planes that small codebooks make.
"""

# ruff: noqa: E501 (the text is what it is)

from __future__ import annotations

from typing import Final

HEADER: Final = b"""[[["x",["N",3,32,32]]],[["Conv","conv1",[1,".weight"],{"kernel_shape":[3,3],"pads":[1,1,1,1]}],["BatchNormalization","bn1",[1,".weight",".bias",".running_mean",".running_var"],{"epsilon":1e-05}],["Relu","relu",[1]],["Conv","layer1.0",[1,".weight",".bias"],{"kernel_shape":[3,3],"pads":[1,1,1,1]}],["BatchNormalization","layer1.1",[1,".weight",".bias",".running_mean",".running_var"],{"epsilon":1e-05}],["Relu","layer1.2",[1]],["Add","add",[4,1]],["GlobalAveragePool","pool",[1]],["Flatten","flatten",[1],{"axis":1}],["Gemm","fc",[1,".weight",".bias"],{"transB":1},["y"]]],[[8,3,3,3,"s32h"],[8,"h"],[8,"h"],[8,8,3,3,"s32h"],[8,"h"],[8,"h"],[8,"h"],[10,8,"s32h"],[8,"h"],[8,"h"],[8,"h"],[8,"h"],[8,"h"]],["y"],["conv1.weight","bn1.weight","bn1.bias","layer1.0.weight","layer1.0.bias","layer1.1.weight","layer1.1.bias","fc.weight","fc.bias","bn1.running_mean","bn1.running_var","layer1.1.running_mean","layer1.1.running_var"]]
seed = 1

[[rule]]
select = "*.bias"
methods = [
  { use = "prune.Magnitude", threshold = 0.01 },
  { use = "share.KMeans", clusters = 7, init = "kmeans++", format = "float8_e4m3" },
]

[[rule]]
select = "conv*|*.bias"
methods = [
  { use = "prune.Magnitude", quality = 1.5, scope = "global" },
  { use = "share.KMeans", bits = 8, init = "density", format = "bfloat16", seed = 1 },
]

[[rule]]
select = "features.*"
methods = [
  { use = "prune.Magnitude", sparsity = 0.95 },
  { use = "share.KMeans", bits = 5, init = "random", format = "float32" },
]

[[stage]]
epochs = 5
lr = 0.0001
settle = "prune"
schedule = "iterative"
rounds = 4

[[stage]]
epochs = 3
settle = "share"
schedule = "one-shot"

[[["x",["N",1,28,28]]],[["Conv","conv1",[1,".weight",".bias"],{"kernel_shape":[5,5]}],["MaxPool","maxpool",[1],{"kernel_shape":[2,2],"strides":[2,2]}],["Conv","conv2",[1,".weight",".bias"],{"kernel_shape":[5,5]}],["MaxPool","maxpool_2",[1],{"kernel_shape":[2,2],"strides":[2,2]}],["Flatten","flatten",[1],{"axis":1}],["Gemm","fc1",[1,".weight",".bias"],{"transB":1}],["Relu","relu",[1]],["Gemm","fc2",[1,".weight",".bias"],{"transB":1},["y"]]],[[20,1,5,5,"s16e"],[20,"8e"],[50,20,5,5,"s16e"],[50,"8e"],[500,800,"s16e"],[500,"8e"],[10,500,"s16e"],[10,"8e"]]]
[[["x",["N",1,28,28]]],[["Flatten","flatten",[1],{"axis":1}],["Gemm","fc1",[1,".weight",".bias"],{"transB":1}],["Relu","relu",[1]],["Gemm","fc2",[1,".weight",".bias"],{"transB":1}],["Relu","relu_2",[1]],["Gemm","fc3",[1,".weight",".bias"],{"transB":1},["y"]]],[[300,784,"s15e"],[300,"e"],[100,300,"s15e"],[100,"e"],[10,100,"s15e"],[10,"e"]]]
seed = 0

[[rule]]
select = "conv1"
methods = [
  { use = "prune.Magnitude", sparsity = 0.7 },
  { use = "share.KMeans", clusters = 15, format = "float8_e4m3" },
]

[[rule]]
select = "conv2"
methods = [
  { use = "prune.Magnitude", sparsity = 0.96 },
  { use = "share.KMeans", clusters = 15, format = "float8_e4m3" },
]

[[rule]]
select = "fc1"
methods = [
  { use = "prune.Magnitude", sparsity = 0.98 },
  { use = "share.KMeans", clusters = 15, format = "float8_e4m3" },
]

[[rule]]
select = "fc2"
methods = [
  { use = "prune.Magnitude", sparsity = 0.9 },
  { use = "share.KMeans", clusters = 15, format = "float16" },
]

[[rule]]
select = "fc3"
methods = [
  { use = "prune.Magnitude", sparsity = 0.75 },
  { use = "share.KMeans", clusters = 15, format = "float16" },
]

[[rule]]
select = "*"
methods = [
  { use = "prune.Magnitude", sparsity = 0.99, scope = "global" },
  { use = "share.KMeans", bits = 4, format = "float8_e4m3" },
]

[[rule]]
select = "*.bias"
methods = [
  { use = "share.KMeans", bits = 3, format = "float8_e4m3" },
]

[[stage]]
epochs = 40
batch = 256
lr = 0.001
distill = 0.9
temperature = 4.0
shift = 2

[[stage]]
epochs = 100
batch = 128
lr = 0.002
distill = 0.9
temperature = 4.0
shift = 1
settle = "prune"
schedule = "cubic"
ramp = 0.8

[[stage]]
epochs = 20
lr = 0.0003
distill = 0.9
temperature = 4.0
shift = 1
settle = "share"

[[["x",["N",1,28,28]]],[["Conv","conv1",[1,".weight",".bias"],{"kernel_shape":[5,5]}],["MaxPool","maxpool",[1],{"kernel_shape":[2,2],"strides":[2,2]}],["Conv","conv2",[1,".weight",".bias"],{"kernel_shape":[5,5]}],["MaxPool","maxpool_2",[1],{"kernel_shape":[2,2],"strides":[2,2]}],["Flatten","flatten",[1],{"axis":1}],["Gemm","fc1",[1,".weight",".bias"],{"transB":1}],["Relu","relu",[1]],["Gemm","fc2",[1,".weight",".bias"],{"transB":1},["y"]]],[[20,1,5,5,"s15e"],[20,"s7e"],[50,20,5,5,"s15e"],[50,"s7e"],[500,800,"s15e"],[500,"s7e"],[10,500,"s15e"],[10,"s7e"]]]
[[["x",["N",1,28,28]]],[["Flatten","flatten",[1],{"axis":1}],["Gemm","fc1",[1,".weight",".bias"],{"transB":1}],["Relu","relu",[1]],["Gemm","fc2",[1,".weight",".bias"],{"transB":1}],["Relu","relu_2",[1]],["Gemm","fc3",[1,".weight",".bias"],{"transB":1},["y"]]],[[300,784,"s15h"],[300,"s7h"],[100,300,"s15h"],[100,"s7h"],[10,100,"s15h"],[10,"s7h"]]]
seed = 0

[[rule]]
select = "conv1"
methods = [
  { use = "prune.Magnitude", sparsity = 0.7 },
  { use = "share.KMeans", clusters = 15, format = "float8_e4m3" },
]

[[rule]]
select = "conv2"
methods = [
  { use = "prune.Magnitude", sparsity = 0.96 },
  { use = "share.KMeans", clusters = 15, format = "float8_e4m3" },
]

[[rule]]
select = "fc1"
methods = [
  { use = "prune.Magnitude", sparsity = 0.98 },
  { use = "share.KMeans", clusters = 15, format = "float8_e4m3" },
]

[[rule]]
select = "fc2"
methods = [
  { use = "prune.Magnitude", sparsity = 0.92 },
  { use = "share.KMeans", clusters = 15, format = "float16" },
]

[[rule]]
select = "fc3"
methods = [
  { use = "prune.Magnitude", sparsity = 0.75 },
  { use = "share.KMeans", clusters = 15, format = "float16" },
]
"""

REALS: Final = b""
