"""Golden data: what the reference implementations compute, written down for tests that do without them.

The references are development tools, never dependencies. In an environment of their own:

    pip install torch==2.13.0 h5py onnx onnxruntime pillow platformdirs safetensors scikit-image
    pip install huggingface_hub pyyaml absl-py rich namex ml_dtypes optree packaging
    pip install --no-deps torchvision==0.28.0 timm==1.0.31 keras==3.15.1

    python -m scripts.golden.torch_networks     # tests/models/golden/{torchvision,timm}.npz
    python -m scripts.golden.keras_network      # tests/models/golden/keras.npz
    python -m scripts.golden.torch_files        # tests/models/golden/tiny.{pth,legacy.pth,safetensors,npz}
    python -m scripts.golden.keras_file         # tests/models/golden/tiny_keras.{h5,npz}
    python -m scripts.golden.preprocessing      # tests/models/golden/preprocessing.npz
    python -m scripts.golden.autodiff_torch     # tests/finetune/autodiff/golden/*.npz
"""
