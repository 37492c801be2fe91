"""The layers of networks by name, in a separate module because completion in the shell must not load torch."""

FC = ("fc6", "fc7")
CNNF = (*(f"conv{i}" for i in range(1, 6)), *FC)
VGG19 = (*(f"conv{stage}_{i}" for stage in range(1, 6) for i in range(1, 3 if stage < 3 else 5)), *FC)
LITE0 = tuple(f"block{i}" for i in (1, 3, 5, 11, 16))
OF_NETWORK = {"cnnf": CNNF, "cnnf-multihead": CNNF, "vgg19": VGG19, "efficientnet-lite0": LITE0}
PRETRAINED = ("efficientnet-lite0",)  # networks whose weights are installed with a package
FILTERS, PATCHES = "filters", "patches"
UNTRAINED = (FILTERS, PATCHES)  # layers of `descriptors`, which need no network
