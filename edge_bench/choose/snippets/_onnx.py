"""What the scripts of ONNX files share."""

from __future__ import annotations

# Lines of a script: what a session is opened with.
OPTIONS = """options = onnxruntime.SessionOptions()
# Sums of int8 products do not overflow then, on x86 processors without VNNI.
options.add_session_config_entry("session.x64quantprecision", "1")
"""
