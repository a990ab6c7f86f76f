// Drawing a view again by itself: every few seconds, after an outage, with another version and with another key.
import { onKeyChange } from "../../keys.js";

const SECONDS = 15;

/**
 * Draws a view now, and again whenever it may have changed; gives back what ends that.
 * @param {function(): Promise} draw
 * @param {Object} status
 * @param {function(): boolean} wanted whether the clock may draw; changes of the gateway do so at any rate
 */
export async function redrawn(draw, status, wanted = () => true) {
  if (status.current.state === "unknown") {
    await status.look(); // or the first answer would be a change, and draw a second time
  }
  const answering = ({ state, digest }) => (state === "ready" ? `ready ${digest}` : null);
  const timer = setInterval(() => wanted() && !document.hidden && status.current.state !== "away" && draw(), SECONDS * 1000);
  let before = answering(status.current);
  const forget = status.subscribe((now) => {
    const found = answering(now);
    if (found !== null && found !== before) {
      draw();
    }
    before = found;
  });
  const forgetKey = onKeyChange(draw);
  await draw();
  return () => {
    clearInterval(timer);
    forget();
    forgetKey();
  };
}
