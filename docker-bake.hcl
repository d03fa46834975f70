# Every image, with the tags of the original: docker buildx bake [TARGET ...]; docs/deployment.md tells which is which.
#
#   docker buildx bake                                   the default set, for this machine
#   docker buildx bake --print everything                what would be built
#   VERSION=2.0.0 REGISTRY=registry.example/ PLATFORMS=linux/amd64,linux/arm64 docker buildx bake --push permissive
#   ACCEPT_MODEL_LICENCES=true docker buildx bake original

# Put before the names of the images; ends in a slash.
variable "REGISTRY" {
  default = ""
}

# Name of the images; exadel/compreface-core makes them those that CompreFace looks for.
variable "IMAGE" {
  default = "compreface-core"
}

# The tag, and what /status tells as build_version.
variable "VERSION" {
  default = "latest"
}

# For which processors, separated by commas; empty: this machine's.
variable "PLATFORMS" {
  default = ""
}

# true accepts licences that forbid commercial use; the images of the original's sets need it.
variable "ACCEPT_MODEL_LICENCES" {
  default = "false"
}

# Anything but nothing leaves out the tests in the build.
variable "SKIP_TESTS" {
  default = ""
}

# What GPU images are built on: CUDA and cuDNN of the versions that onnxruntime-gpu was made for.
variable "CUDA_IMAGE" {
  default = "nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04"
}

group "default" {
  targets = ["permissive"]
}

# Our own sets: models that are cleared for commercial use.
group "ours" {
  targets = ["permissive", "permissive-openvino", "permissive-gpu"]
}

# The original's sets: the same networks, for embeddings that are stored already.
group "original" {
  targets = ["facenet", "mobilenet", "mobilenet-gpu", "arcface-r100", "arcface-r100-gpu"]
}

group "everything" {
  targets = ["ours", "original"]
}

function "tag" {
  params = [suffix]
  result = "${REGISTRY}${IMAGE}:${VERSION}${suffix}"
}

target "_service" {
  dockerfile = "Dockerfile"
  target     = "service"
  platforms  = compact(split(",", PLATFORMS))
  args = {
    APP_VERSION_STRING    = VERSION
    BE_VERSION            = VERSION
    ACCEPT_MODEL_LICENCES = ACCEPT_MODEL_LICENCES
    SKIP_TESTS            = SKIP_TESTS
  }
}

# onnxruntime-gpu is published for x86-64 only.
target "_gpu" {
  platforms = ["linux/amd64"]
  args = {
    BASE_IMAGE = CUDA_IMAGE
    EXTRAS     = "gpu"
    GPU_IDX    = "0"
  }
}

target "permissive" {
  inherits = ["_service"]
  tags     = [tag("-permissive")]
}

# The permissive image carries OpenVINO where it runs and uses it where it is faster; this one uses nothing else.
target "permissive-openvino" {
  inherits  = ["_service"]
  tags      = [tag("-permissive-openvino")]
  platforms = ["linux/amd64"]
  args = {
    INTEL_OPTIMIZATION = "true"
  }
}

target "permissive-gpu" {
  inherits = ["permissive", "_gpu"]
  tags     = [tag("-permissive-gpu")]
}

target "facenet" {
  inherits = ["_service"]
  tags     = [tag(""), tag("-facenet")]
  args = {
    IMPORT_EXTRAS         = "import-tensorflow"
    FACE_DETECTION_PLUGIN = "facenet.FaceDetector"
    CALCULATION_PLUGIN    = "facenet.Calculator"
    EXTRA_PLUGINS         = "facenet.LandmarksDetector,agegender.AgeDetector,agegender.GenderDetector,facenet.facemask.MaskDetector,facenet.PoseEstimator"
  }
}

target "mobilenet" {
  inherits = ["_service"]
  tags     = [tag("-mobilenet")]
  args = {
    FACE_DETECTION_PLUGIN = "insightface.FaceDetector@retinaface_mnet025_v1"
    CALCULATION_PLUGIN    = "insightface.Calculator@arcface_mobilefacenet"
    EXTRA_PLUGINS         = "insightface.LandmarksDetector,insightface.GenderDetector,insightface.AgeDetector,insightface.facemask.MaskDetector,insightface.PoseEstimator"
  }
}

target "mobilenet-gpu" {
  inherits = ["mobilenet", "_gpu"]
  tags     = [tag("-mobilenet-gpu")]
}

target "arcface-r100" {
  inherits = ["mobilenet"]
  tags     = [tag("-arcface-r100")]
  args = {
    FACE_DETECTION_PLUGIN = "insightface.FaceDetector@retinaface_r50_v1"
    CALCULATION_PLUGIN    = "insightface.Calculator@arcface-r100-msfdrop75"
  }
}

target "arcface-r100-gpu" {
  inherits = ["arcface-r100", "_gpu"]
  tags     = [tag("-arcface-r100-gpu")]
}
