"""Other registration tools as their documentation uses them: fixed and moving image in, transform out, one thread.

Every function takes two images in HU and gives the transform from fixed to moving points. A tool that is not installed
raises ImportError, and its row says so.
"""

import contextlib
import importlib
import io
import tempfile
from collections.abc import Callable

import numpy as np
import SimpleITK as sitk

from cpmn.volume.transforms import load_transform

Register = Callable[[sitk.Image, sitk.Image], sitk.Transform]


def load_installed() -> None:
    """Import what is installed, so that no method's time holds an import (itk takes half a minute)."""
    for name in ("ants", "picsl_greedy", "itk"):
        with contextlib.suppress(ImportError):
            module = importlib.import_module(name)
            getattr(module, "ElastixRegistrationMethod", None)


def ants_default(kind: str) -> Register:
    """`ants.registration(fixed, moving, type_of_transform=kind)`."""

    def register(fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
        import ants

        with tempfile.TemporaryDirectory() as folder:
            scans = []
            for name, image in (("fixed", fixed), ("moving", moving)):
                sitk.WriteImage(image, f"{folder}/{name}.nii")
                scans.append(ants.image_read(f"{folder}/{name}.nii"))
            found = ants.registration(*scans, type_of_transform=kind, random_seed=1, outprefix=f"{folder}/")
            warp, affine = found["fwdtransforms"]
            return load_transform(affine, warp)

    return register


def greedy_default(fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    """The two calls of greedy's tutorial: affine from the centres of the images, then deformable, NCC radius 2."""
    from picsl_greedy import Greedy3D  # type: ignore[import-not-found]

    greedy, silent = Greedy3D(), io.StringIO()
    both = {"fixed": sitk.Cast(fixed, sitk.sitkFloat32), "moving": sitk.Cast(moving, sitk.sitkFloat32)}
    common = "-V 0 -threads 1 -i fixed moving -m NCC 2x2x2 -n 100x50x10"
    greedy.execute(f"{common} -a -ia-image-centers -o affine", out=silent, err=silent, affine=None, **both)
    greedy.execute(f"{common} -it affine -o warp", out=silent, err=silent, warp=None, **both)
    matrix, turn = np.array(greedy["affine"]), np.diag([-1.0, -1.0, 1.0])
    affine = sitk.AffineTransform(3)
    affine.SetMatrix((turn @ matrix[:3, :3] @ turn).ravel().tolist())
    affine.SetTranslation((turn @ matrix[:3, 3]).tolist())
    transform = sitk.CompositeTransform([affine])
    transform.AddTransform(sitk.DisplacementFieldTransform(sitk.Cast(greedy["warp"], sitk.sitkVectorFloat64)))
    return transform


def elastix_default(fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    """itk-elastix with its default parameter maps: translation, affine, B-spline."""
    import itk  # type: ignore[import-not-found]

    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(1)
    scans = [itk.image_view_from_array(sitk.GetArrayFromImage(sitk.Cast(i, sitk.sitkFloat32))) for i in (fixed, moving)]
    for scan, image in zip(scans, (fixed, moving), strict=True):
        scan.SetSpacing(image.GetSpacing())
        scan.SetOrigin(image.GetOrigin())
        scan.SetDirection(itk.matrix_from_array(np.reshape(image.GetDirection(), (3, 3))))
    parameters = itk.ParameterObject.New()
    for name in ("translation", "affine", "bspline"):
        parameters.AddParameterMap(parameters.GetDefaultParameterMap(name))
    _, found = itk.elastix_registration_method(*scans, parameter_object=parameters, number_of_threads=1)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # transformix leaves a file behind
        field = itk.transformix_deformation_field(scans[1], found)
    image = sitk.GetImageFromArray(itk.array_from_image(field).astype(np.float64), isVector=True)
    image.CopyInformation(fixed)
    return sitk.DisplacementFieldTransform(image)


def demons(fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    """SimpleITK: affine by mutual information, then symmetric diffeomorphic demons at shrink factors 4, 2 and 1.

    As in SimpleITK's notebooks on the registration of lung CT; the moving image's histogram is matched first.
    """
    images = [sitk.Clamp(image, sitk.sitkFloat32, -1000.0, 100.0) for image in (fixed, moving)]
    affine = _affine(*images)
    warped = sitk.Resample(images[1], images[0], affine, sitk.sitkLinear, -1000.0)
    warped = sitk.HistogramMatching(warped, images[0], 64, 7, True)
    field = None
    for shrink in (4, 2, 1):
        level = [
            sitk.Shrink(sitk.SmoothingRecursiveGaussian(i, [shrink * 1.0] * 3), [shrink] * 3)
            for i in (images[0], warped)
        ]
        step = sitk.DiffeomorphicDemonsRegistrationFilter()
        step.SetNumberOfIterations(30)
        step.SetStandardDeviations(1.5)
        if field is not None:
            field = sitk.Resample(field, level[0], sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkVectorFloat64)
        field = step.Execute(*level, field) if field is not None else step.Execute(*level)
    transform = sitk.CompositeTransform([affine])
    transform.AddTransform(sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64)))
    return transform


def _affine(fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.1, 1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsGradientDescent(1.0, 100)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2])
    method.SetSmoothingSigmasPerLevel([2.0, 1.0])
    centred = sitk.CenteredTransformInitializer(
        fixed, moving, sitk.AffineTransform(3), sitk.CenteredTransformInitializerFilter.GEOMETRY
    )
    method.SetInitialTransform(centred)
    return method.Execute(fixed, moving)
