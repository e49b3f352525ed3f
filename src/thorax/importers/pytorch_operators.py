"""Operators that a network of PyTorch may be made of, and the judge of a graph of them.

What is listed computes with values that it is given, in memory that is the network's own. What
opens files, asks other processes, draws seeds anew or prints is not, and so is not run.
"""

from collections.abc import Iterator
from typing import Any, Final

import torch

ATEN: Final = frozenset(
    """
    Bool Complex Delete Float Int IntImplicit ScalarImplicit Size __and__ __contains__
    __derive_index __getitem__ __iand__ __interpolate __ior__ __is__ __isnot__ __ixor__ __lshift__
    __not__ __or__ __range_length __round_to_zero_floordiv __rshift__ __upsample __xor__
    _adaptive_avg_pool1d _adaptive_avg_pool2d _adaptive_avg_pool3d _assert_async _assert_scalar
    _assert_tensor_metadata _batch_norm_impl_index _cast_Float _cdist_forward _convolution
    _convolution_mode _embedding_bag _embedding_bag_forward_only
    _fake_quantize_per_tensor_affine_cachemask_tensor_qparams _fft_c2r _fft_r2c
    _functional_assert_async _functional_assert_scalar _grouped_mm _is_zerotensor _linalg_eigh
    _linalg_svd _local_scalar_dense _log_softmax _native_batch_norm_legit
    _native_batch_norm_legit_functional _native_batch_norm_legit_no_training
    _native_multi_head_attention _nested_tensor_from_mask _pack_padded_sequence _pad_circular
    _pad_enum _pad_packed_sequence _pdist_forward _safe_softmax
    _scaled_dot_product_flash_attention _scaled_dot_product_flash_attention_for_cpu _set_item
    _shape_as_tensor _softmax _to_copy _transform_bias_rescale_qkv _transformer_encoder_layer_fwd
    _unique _unique2 _unsafe_index _unsafe_view _unwrap_optional _upsample_bicubic2d_aa
    _upsample_bilinear2d_aa _upsample_lanczos2d_aa _upsample_nearest_exact1d
    _upsample_nearest_exact2d _upsample_nearest_exact3d _weight_norm abs abs_ absolute absolute_
    acos acos_ acosh acosh_ adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
    adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d add add_ addbmm addcdiv addcdiv_
    addcmul addcmul_ addmm addmv addr adjoint affine_grid_generator alias alias_copy all allclose
    alpha_dropout alpha_dropout_ amax amin aminmax angle any append arange arccos arccosh arcsin
    arcsinh arctan arctan2 arctanh argmax argmin argsort argwhere as_strided as_strided_
    as_strided_copy as_strided_scatter as_tensor asin asin_ asinh asinh_ atan atan2 atan_ atanh
    atanh_ avg_pool1d avg_pool2d avg_pool3d baddbmm bartlett_window batch_norm bernoulli bincount
    bitwise_and bitwise_and_ bitwise_left_shift bitwise_not bitwise_not_ bitwise_or bitwise_or_
    bitwise_right_shift bitwise_xor bitwise_xor_ blackman_window block_diag bmm broadcast_tensors
    broadcast_to bucketize can_cast cartesian_prod cat cdist ceil ceil_ celu celu_ chain_matmul
    channel_shuffle cholesky chr chunk clamp clamp_ clamp_max clamp_max_ clamp_min clamp_min_
    clear clip clone col2im column_stack combinations complex concat concatenate conj
    conj_physical constant_pad_nd contiguous conv1d conv2d conv3d conv_transpose1d
    conv_transpose2d conv_transpose3d convolution copy copy_ copysign corrcoef cos cos_ cosh cosh_
    cosine_similarity count count_nonzero cov cpu cross cudnn_is_acceptable cummax cummin cumprod
    cumsum deg2rad degrees dequantize det detach detach_ device diag diag_embed diagonal
    diagonal_scatter dict diff digamma dim dist div div_ divide divide_ divmod dot dropout
    dropout_ dsplit dstack einsum element_size elu elu_ embedding embedding_bag embedding_renorm_
    empty empty_like empty_permuted empty_strided endswith eq eq_ equal erf erf_ erfc erfc_ erfinv
    exp exp2 exp_ expand expand_as expand_copy expm1 extend eye fabs factorial
    fake_quantize_per_channel_affine fake_quantize_per_channel_affine_cachemask
    fake_quantize_per_tensor_affine fake_quantize_per_tensor_affine_cachemask
    feature_alpha_dropout feature_alpha_dropout_ feature_dropout feature_dropout_ fft_fft fft_fft2
    fft_fftfreq fft_fftn fft_fftshift fft_ifft fft_ifft2 fft_ifftn fft_ifftshift fft_irfft
    fft_irfft2 fft_irfftn fft_rfft fft_rfft2 fft_rfftfreq fft_rfftn fill fill_ fill_diagonal
    fill_diagonal_ find fix flatten flip fliplr flipud float_power float_power_ floor floor_
    floor_divide floor_divide_ floordiv fmod fmod_ format frac fractional_max_pool2d
    frobenius_norm full full_like gather gcd ge ge_ gelu gelu_ ger get get_autocast_dtype
    get_device glu greater greater_equal grid_sampler grid_sampler_2d grid_sampler_3d group_norm
    gru gru_cell gt gt_ hamming_window hann_window hardshrink hardsigmoid hardsigmoid_ hardswish
    hardswish_ hardtanh hardtanh_ has_torch_function hash heaviside histc hsplit hstack hypot
    im2col imag index index_add index_add_ index_copy index_copy_ index_fill index_fill_ index_put
    index_put_ index_reduce index_select inner insert instance_norm int_repr inverse
    is_autocast_enabled is_complex is_conj is_contiguous is_floating_point is_grad_enabled
    is_inference is_leaf is_neg is_nonzero is_pinned is_same_size is_signed isclose isdigit
    isfinite isin isinf isnan isneginf isposinf isreal istft item items join kaiser_window keys
    kron kthvalue layer_norm ldexp le le_ leaky_relu leaky_relu_ len lerp less less_equal lgamma
    lift lift_fresh lift_fresh_copy linalg_cholesky linalg_cross linalg_det linalg_eigh
    linalg_eigvalsh linalg_inv linalg_matmul linalg_matrix_norm linalg_multi_dot linalg_norm
    linalg_pinv linalg_qr linalg_slogdet linalg_solve linalg_svd linalg_svdvals linalg_vector_norm
    linear linspace list log log10 log10_ log1p log1p_ log2 log2_ log_ log_sigmoid
    log_sigmoid_forward log_softmax logaddexp logdet logical_and logical_and_ logical_not
    logical_not_ logical_or logical_or_ logical_xor logical_xor_ logit logit_ logspace logsumexp
    lower lstm lstm_cell lstrip lt lt_ mH mT masked_fill masked_fill_ masked_scatter
    masked_scatter_ masked_select mathremainder matmul matrix_exp matrix_power max max_pool
    max_pool1d max_pool1d_with_indices max_pool2d max_pool2d_with_indices max_pool3d
    max_pool3d_with_indices max_unpool2d maximum mean median meshgrid min minimum mish mish_ mm
    mode moveaxis movedim msort mul mul_ multinomial multiply multiply_ mv nan_to_num nan_to_num_
    nanmean nanquantile nansum narrow native_batch_norm native_dropout native_group_norm
    native_layer_norm ne ne_ neg neg_ negative negative_ new_empty new_empty_strided new_full
    new_ones new_zeros nll_loss nonzero nonzero_numpy nonzero_static norm normal normal_ not_equal
    nuclear_norm numel numpy_T one_hot ones ones_like ord outer pad pad_sequence pairwise_distance
    pdist permute permute_copy pinverse pixel_shuffle pixel_unshuffle polar pop popitem pow pow_
    prelu prod promote_types put put_ q_scale q_zero_point quantile quantize_per_channel
    quantize_per_tensor quantize_per_tensor_dynamic rad2deg radians rand rand_like randint
    randint_like randn randn_like randperm range ravel real reciprocal reciprocal_
    reflection_pad1d reflection_pad2d reflection_pad3d relu relu6 relu6_ relu_ remainder
    remainder_ remove renorm repeat repeat_interleave replace replication_pad1d replication_pad2d
    replication_pad3d requires_grad_ reshape reshape_as resolve_conj resolve_neg result_type
    reverse rms_norm rnn_relu rnn_relu_cell rnn_tanh rnn_tanh_cell roll rot90 round round_
    row_stack rrelu rrelu_ rsqrt rsqrt_ rstrip rsub scalar_tensor scaled_dot_product_attention
    scatter scatter_ scatter_add scatter_add_ scatter_reduce scatter_reduce_ searchsorted select
    select_copy select_scatter selu selu_ setdefault sgn sigmoid sigmoid_ sign sign_ silu silu_
    sin sin_ sinc sinh sinh_ size slice slice_copy slice_scatter slogdet softmax softplus
    softshrink sort sorted special_erf special_erfc special_exp2 special_expit special_expm1
    special_log1p special_log_softmax special_logit special_softmax special_xlogy split
    split_with_sizes split_with_sizes_copy sqrt sqrt_ square square_ squeeze squeeze_ squeeze_copy
    stack startswith std std_mean stft storage_offset str stride strip sub sub_ subtract subtract_
    sum svd swapaxes swapaxes_ swapdims sym_numel sym_size sym_storage_offset sym_stride t t_ take
    take_along_dim tan tan_ tanh tanh_ tensor tensor_split tensordot threshold threshold_ tile to
    to_dense topk trace transpose transpose_ trapezoid trapz tril tril_ tril_indices triu triu_
    triu_indices true_divide true_divide_ trunc trunc_ type_as unbind unflatten unfold uniform
    unique_consecutive unique_dim unsafe_chunk unsafe_split unsafe_split_with_sizes unsqueeze
    unsqueeze_ unsqueeze_copy update upper upsample_bicubic2d upsample_bilinear2d
    upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d
    upsample_trilinear3d values var var_mean vdot view view_as view_as_complex view_as_real
    view_copy vsplit vstack warn where xlogy xlogy_ zero zero_ zeros zeros_like
    """.split()  # noqa: SIM905
)
"""Of the name space `aten`: those that OpenVINO converts, and what scripts compute sizes with."""

PRIM: Final = frozenset(
    """
    CallFunction CallMethod Constant ConstantChunk CreateObject DictConstruct EnumName EnumValue
    GetAttr If ListConstruct ListUnpack Loop ModuleContainerIndex NumToTensor RaiseException
    SetAttr TupleConstruct TupleIndex TupleSlice TupleUnpack Uninitialized VarConcat VarStack abs
    data device dtype index is_cpu is_cuda is_ipu is_maia is_meta is_mkldnn is_mps is_mtia is_nested
    is_quantized is_sparse is_sparse_csr is_vulkan is_xla is_xpu isinstance itemsize layout max min
    nbytes rangelist requires_grad tolist type unchecked_cast unchecked_unwrap_optional
    """.split()  # noqa: SIM905
)
"""Of the name space `prim`: control flow, containers and what is asked of a tensor."""

_PLAIN: Final = frozenset(
    {
        "Tensor", "number", "int", "float", "bool", "complex", "List[Tensor]", "List[int]",
        "List[float]", "List[bool]", "Optional[Tensor]", "Optional[number]", "Optional[int]",
        "Optional[float]", "Optional[bool]", "Optional[List[int]]", "Optional[List[float]]",
        "List[Optional[Tensor]]", "Device", "Optional[Device]",
    }
)  # fmt: skip
"""Types of arguments that name nothing outside the process."""


class NotComputationError(ValueError):
    """A script that does what is on no list.

    `what` is the operator or construct, `is_layer` whether it is arithmetic that cannot be
    converted, and no threat.
    """

    def __init__(self, what: str, *, is_layer: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.is_layer = is_layer


def registered() -> frozenset[str]:
    """Return what follows `aten::` in the names of all operators that PyTorch knows now."""
    names = (schema.name.partition("::") for schema in torch._C._jit_get_all_schemas())
    return frozenset(base for space, _, base in names if space == "aten")


def require_operator(name: str, custom: frozenset[str]) -> None:
    """Refuse an operator such as `aten::conv2d` that is on no list, nor the user's own.

    Raises:
        NotComputationError: it is not listed.
    """
    space, _, base = name.partition("::")
    if base in {"aten": ATEN, "prim": PRIM}.get(space, frozenset()) or name in custom:
        return
    schemas = torch._C._jit_get_schemas_for_operator(name) if space == "aten" else []
    arguments = [argument for schema in schemas for argument in schema.arguments]
    plain = all(str(argument.type) in _PLAIN for argument in arguments)
    raise NotComputationError(name, is_layer=bool(schemas) and plain)


def require_computation(functions: Any, custom: frozenset[str]) -> None:  # noqa: ANN401
    """Refuse functions of which any, called or not, holds an operator that is on no list.

    They are those of a compilation unit of TorchScript, methods among them.

    Raises:
        NotComputationError: one does.
    """
    for function in functions:
        for node in _nodes(function.graph):
            require_operator(node.kind(), custom)


def _nodes(block: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield every node of a block, of the blocks inside it and of graphs that nodes hold."""
    blocks = [block]
    while blocks:
        for node in blocks.pop().nodes():
            yield node
            blocks.extend(node.blocks())
            for name in node.attributeNames():
                if node.kindOf(name) == "g":
                    blocks.append(node.g(name))
                elif node.kindOf(name) == "gs":
                    blocks.extend(node.gs(name))
