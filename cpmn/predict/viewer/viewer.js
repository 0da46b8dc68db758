"use strict";
// Draws the scan and its layers with NiiVue (window.niivue), which stands in the page before this script.
(async () => {
  const WINDOWS = { "clot 45/160": [45, 160], "mediastinum 40/350": [40, 350], "lung -600/1500": [-600, 1500], "bone 400/1800": [400, 1800] };
  const LAYERS = [["marks", "red", 0, 1, 0.5, true], ["probability", "warm", 25, 255, 0.6, false], ["activation", "inferno", 25, 255, 0.5, false]];
  const { Niivue, NVImage, SLICE_TYPE, MULTIPLANAR_TYPE } = window.niivue;
  const VIEWS = { "axial, coronal, sagittal": SLICE_TYPE.MULTIPLANAR, axial: SLICE_TYPE.AXIAL, coronal: SLICE_TYPE.CORONAL };
  const at = (id) => document.getElementById(id);
  const lesions = JSON.parse(at("data-lesions").textContent);

  const viewer = new Niivue({ isRadiologicalConvention: true, isOrientationTextVisible: true, dragAndDropEnabled: false,
    multiplanarLayout: MULTIPLANAR_TYPE.GRID, multiplanarShowRender: 0, crosshairColor: [1, 0.85, 0.3, 0.6], crosshairGap: 12, show3Dcrosshair: false });
  viewer.onLocationChange = (found) => { at("place").textContent = "HU and layers at the cross: " + found.values.map((one) => Math.round(one.value)).join(", "); };
  await viewer.attachToCanvas(at("canvas"));

  const load = async (name, options) => {
    const bytes = Uint8Array.from(atob(at("data-" + name).textContent), (letter) => letter.charCodeAt(0));
    const image = await NVImage.loadFromUrl({ url: bytes.buffer, name: name + ".nii.gz", ...options });
    viewer.addVolume(image);
    return image;
  };
  const scan = await load("scan", { colormap: "gray", cal_min: -35, cal_max: 125 });
  const images = {};
  for (const [name, colormap, low, high, opacity, shown] of LAYERS) {
    images[name] = await load(name, { colormap, cal_min: low, cal_max: high, opacity: shown ? opacity : 0 });
  }

  const buttons = (place, choices, act) => {
    const made = Object.entries(choices).map(([text, value]) => {
      const button = document.createElement("button");
      button.textContent = text;
      button.setAttribute("aria-pressed", "false");
      button.onclick = () => {
        made.forEach((one) => one.setAttribute("aria-pressed", String(one === button)));
        act(value);
      };
      at(place).append(button);
      return button;
    });
    made[0].click();
  };
  buttons("windows", WINDOWS, ([centre, width]) => {
    scan.cal_min = centre - width / 2;
    scan.cal_max = centre + width / 2;
    viewer.updateGLVolume();
  });
  buttons("views", VIEWS, (type) => viewer.setSliceType(type));
  for (const [name, , , , opacity, shown] of LAYERS) {
    const label = document.createElement("label"), box = document.createElement("input");
    box.type = "checkbox";
    box.checked = shown;
    box.id = "layer-" + name;
    box.onchange = () => viewer.setOpacity(viewer.volumes.indexOf(images[name]), box.checked ? opacity : 0);
    label.append(box, name);
    at("layers").append(label);
  }

  const jump = (lesion) => {
    viewer.scene.crosshairPos = viewer.mm2frac(lesion.ras_mm);
    viewer.createOnLocationChange();
    viewer.drawScene();
  };
  for (const lesion of lesions) {
    const row = at("lesions").insertRow(), button = document.createElement("button");
    button.textContent = lesion.number;
    button.onclick = () => jump(lesion);
    row.insertCell().append(button);
    const texts = [lesion.volume_ml.toFixed(2), lesion.side, lesion.region, lesion.slice, lesion.mean_hu.toFixed(0), lesion.confidence.toFixed(2)];
    texts.forEach((text) => { row.insertCell().textContent = text; });
  }
  if (lesions.length) jump(lesions[0]);
  window.viewer = viewer;
  document.body.dataset.ready = "yes";
})().catch((error) => {
  document.body.dataset.ready = "failed";
  document.getElementById("place").textContent = "This page could not be drawn: " + error.message;
});
