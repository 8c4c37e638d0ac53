// Between two frames: the points glide from where they are seen to where they were sent to be.

const [SHORTEST, LONGEST] = [30, 250]; // ms that a glide takes: as long as the frame before it took to come

export function glide() {
  const now = { points: new Float32Array(0), extent: 3.8 };
  let from = null, to = null, start = 0, duration = 100, arrived = 0;
  return {
    now,
    frame: () => to,
    // takes a frame that came at `time`; `jump`: be there at once
    send(frame, time, jump) {
      const atOnce = jump || now.points.length !== frame.points.length; // others, or none yet, are seen
      duration = Math.min(Math.max(time - arrived, SHORTEST), LONGEST);
      arrived = time;
      start = atOnce ? -Infinity : time;
      from = atOnce ? frame : { points: now.points.slice(), extent: now.extent };
      to = frame;
    },
    // moves `now` to its place at `time`; true while it is on its way
    move(time) {
      if (!to) return false;
      // a painting's time may lie before the frame's: it began before the frame came
      const t = Math.min(1, Math.max(0, (time - start) / duration));
      if (now.points.length !== to.points.length) now.points = new Float32Array(to.points.length);
      for (let i = 0; i < to.points.length; i++) now.points[i] = from.points[i] + t * (to.points[i] - from.points[i]);
      now.extent = from.extent + t * (to.extent - from.extent);
      return t < 1;
    },
  };
}
