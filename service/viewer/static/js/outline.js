/** Outlines in place of filled layers: NiiVue's own are black, and lie about opaque layers alone. */

/** Draws a line of the lesions' colour just outside of what lies over the scan. */
export const OUTLINE_SHADER = `#version 300 es
precision highp int;
precision highp float;
uniform highp sampler3D volume;
uniform highp sampler3D overlay;
uniform float overlayOutlineWidth;
uniform float overlays;
uniform float opacity;
uniform int axCorSag;
in vec3 texPos;
out vec4 color;

void main() {
  color = vec4(texture(volume, texPos).rgb, opacity);
  if (overlays <= 0.0 || texture(overlay, texPos).a >= 0.5) return;
  vec3 width = overlayOutlineWidth / vec3(textureSize(overlay, 0));
  vec3 across = axCorSag == 2 ? vec3(0.0, width.y, 0.0) : vec3(width.x, 0.0, 0.0);
  vec3 upwards = axCorSag == 0 ? vec3(0.0, width.y, 0.0) : vec3(0.0, 0.0, width.z);
  for (int k = 0; k < 8; k += 1) {
    float angle = radians(45.0) * float(k);
    vec3 beside = texPos + cos(angle) * across + sin(angle) * upwards;
    if (texture(overlay, beside).a >= 0.5) color.rgb = vec3(1.0, 0.714, 0.153);
  }
}`;
