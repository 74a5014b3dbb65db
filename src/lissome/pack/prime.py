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

REALS: Final = bytes.fromhex(
    """
    4402000001010758080301010101014b0204510903030245010001010204550a040101000101520207450502010248010100
    01040a4f040201000001014e02053a1a0401012813fdb444230106a8b57b3328189ca4d7c2ce81af5e79b11cc238247ad460
    71f71217d71340f3b312b3c3eca70bc25d2dcc29f3465a8e8134ddfbb512dbd56bd5053bace64601000101030b5404020100
    0001015302043f0d01020142010101000003055b0703000001014d0103074c06030142000101010204560d0301010101004f
    02020648050302560ae14df7a31291b9d443fbed1e66e59bc0713e54c25ba8054919fce386e68938ffeae8192874cef97504
    672dcde0d2024f55be56fa86aaeb049e56e9fb22b5e875f81ff3460101010002044c100302000101004d02040d470502034b
    0000010103044b080400000100014d0207520503010149010001010204490d0301010101004b02040950040201952f4934e0
    a4324197cf4afb0647cd32f73da59c0eff522688da55418beabbbca6b9df1fe116bafc1f8a9293ab6dee30cc4818996f9c46
    c6e2743703cd4ce425895dc1b2a94704020202030e311107030302020456060925130707054a0301030205092c150a020202
    020365050e0e0a0604045102030103091421090502020203025d050b13180804044c0202020407162b090602020202036705
    0a0c0e030503440203020202070c380e08020202025a04070f190d0703450102030305092f1b0704020303025f04060d120c
    07054c030203010608201b07050202020259060914170a06075501020302070a19110902020202025a060f260b0703035302
    0202030509191508040302020256050913210a05044e0104020103060c230f09020202025b090b180f070505450302030205
    082c1d0b010202030259080815160806074902020302070d330d0702020203035404050c151a0904530201030203060a1a10
    090202030251070814280c0603430202020302080e3a0c07020302025e0304040f0612074702030204050a32110903020302
    0261080c190a0505045203020203040918170704030302025406050a201307065402010303070c1d0d0802020301035e020a
    0c110c0704450103030202030a271f090302010353040709261106074e0102030208102b0a0602030301025404050b2d0e06
    034d030302020507181f0806020203025a05090f1b0a050446020202020607192d09060202010362050d100f070503530202
    0302070b1e0e0902030202025203090e2f0807034b0202030302050923160a020202025906070d1e0a06034502040202060a
    381108020202020363080b2207030402
    """
)
