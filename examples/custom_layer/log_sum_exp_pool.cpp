// The layer of log_sum_exp_pool.py in C++: as fast as its loop, and it needs no Python.

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <openvino/core/extension.hpp>
#include <openvino/core/op_extension.hpp>
#include <openvino/frontend/onnx/extension/op.hpp>
#include <openvino/frontend/pytorch/extension/op.hpp>
#include <openvino/op/op.hpp>

class LogSumExpPool : public ov::op::Op {
public:
    // "extension" is the version that OpenVINO gives to Python's layers: a file that was made with
    // the one runs with the other.
    OPENVINO_OP("LogSumExpPool", "extension");

    LogSumExpPool() = default;

    void validate_and_infer_types() override {
        auto shape = get_input_partial_shape(0);
        shape[2] = shape[3] = 1;
        set_output_type(0, get_input_element_type(0), shape);
    }

    std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector& inputs) const override {
        auto copy = std::make_shared<LogSumExpPool>();
        copy->m_r = m_r;
        copy->set_arguments(inputs);
        copy->constructor_validate_and_infer_types();
        return copy;
    }

    bool visit_attributes(ov::AttributeVisitor& visitor) override {
        visitor.on_attribute("r", m_r);
        return true;
    }

    bool has_evaluate() const override {
        return get_input_element_type(0) == ov::element::f32;
    }

    bool evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const override {
        const auto shape = inputs[0].get_shape();
        const size_t planes = shape[0] * shape[1], cells = shape[2] * shape[3];
        outputs[0].set_shape({shape[0], shape[1], 1, 1});
        const auto* image = inputs[0].data<const float>();
        auto* pooled = outputs[0].data<float>();
        for (size_t plane = 0; plane < planes; ++plane, image += cells) {
            // The largest exponent is taken off first, or the exponentials overflow.
            const float top = *std::max_element(image, image + cells);
            double sum = 0;
            for (size_t cell = 0; cell < cells; ++cell) sum += std::exp(m_r * (image[cell] - top));
            pooled[plane] = top + static_cast<float>(std::log(sum / cells)) / m_r;
        }
        return true;
    }

private:
    float m_r = 10.0f;
};

// The layer itself, what ONNX files call it, and what PyTorch programs call it, where `r` is the
// second argument.
OPENVINO_CREATE_EXTENSIONS(std::vector<ov::Extension::Ptr>({
    std::make_shared<ov::OpExtension<LogSumExpPool>>(),
    std::make_shared<ov::frontend::onnx::OpExtension<LogSumExpPool>>("LogSumExpPool", "example"),
    std::make_shared<ov::frontend::pytorch::OpExtension<LogSumExpPool>>(
        "example::log_sum_exp_pool", std::map<std::string, size_t>{{"r", 1}}),
}));
