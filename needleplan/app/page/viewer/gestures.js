// Mouse, touch and keyboard on the canvas: turn, pan, zoom.

const TURN_PER_PIXEL = 0.008;
const TURN_PER_KEY = Math.PI / 36;
const ZOOM_PER_KEY = 1.12;
const PAN_KEY_PIXELS = 24;

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/**
 * Listens on `canvas` and changes `view`. `stage` gives mmPerPixel(), moving(bool) and invalidate(). One finger or
 * the left button turns; two fingers, the right button or Shift pan; pinch zooms, and so does the wheel once the
 * scene has been clicked.
 */
export function listenToGestures(canvas, view, stage) {
  const pointers = new Map();
  let rest = 0;

  const changed = () => {
    stage.moving(true);
    stage.invalidate();
    clearTimeout(rest);
    rest = setTimeout(() => stage.moving(false), 180);
  };
  const pan = (right, up) => view.pan(-right * stage.mmPerPixel(), up * stage.mmPerPixel());
  const spread = () => {
    const [a, b] = [...pointers.values()];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, gap: Math.max(1, Math.hypot(a.x - b.x, a.y - b.y)) };
  };

  const listeners = {
    pointerdown(event) {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, button: event.button });
    },
    pointermove(event) {
      const last = pointers.get(event.pointerId);
      if (!last) return;
      const right = event.clientX - last.x;
      const down = event.clientY - last.y;
      const before = pointers.size === 2 ? spread() : null;
      last.x = event.clientX;
      last.y = event.clientY;
      if (before) {
        const after = spread();
        pan(after.x - before.x, after.y - before.y);
        view.zoom(before.gap / after.gap);
      } else if (last.button === 2 || last.button === 1 || event.shiftKey) pan(right, down);
      else view.turn(-right * TURN_PER_PIXEL, down * TURN_PER_PIXEL);
      changed();
    },
    pointerup(event) {
      pointers.delete(event.pointerId);
    },
    pointercancel(event) {
      pointers.delete(event.pointerId);
    },
    wheel(event) {
      // A page that scrolls goes on scrolling over a scene that nobody has touched.
      const scrolls = document.documentElement.scrollHeight > window.innerHeight;
      if (scrolls && document.activeElement !== canvas && !event.ctrlKey) return;
      event.preventDefault();
      view.zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY * (event.deltaMode ? 0.05 : 0.0015)))));
      changed();
    },
    contextmenu(event) {
      event.preventDefault();
    },
    keydown(event) {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const arrow = ARROWS[event.key];
      if (arrow && event.shiftKey) pan(-arrow[0] * PAN_KEY_PIXELS, arrow[1] * PAN_KEY_PIXELS);
      else if (arrow) view.turn(arrow[0] * TURN_PER_KEY, arrow[1] * TURN_PER_KEY);
      else if (event.key === "+" || event.key === "=") view.zoom(1 / ZOOM_PER_KEY);
      else if (event.key === "-" || event.key === "_") view.zoom(ZOOM_PER_KEY);
      else if (event.key === "0" || event.key === "Home") view.reset();
      else return;
      event.preventDefault();
      changed();
    },
  };
  for (const [name, listener] of Object.entries(listeners)) {
    canvas.addEventListener(name, listener, name === "wheel" ? { passive: false } : undefined);
  }
}
