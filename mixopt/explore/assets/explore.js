// While an answer is awaited, moves of a slider are held back, all but the last: the browser tells of sixty a second,
// and an answer that is overtaken by the next question would never be shown.
(() => {
  const LONGEST_WAIT = 1000;
  let asked = 0, held = null;
  const isSlider = (element) => element instanceof HTMLInputElement && element.type === 'range';
  const ask = (slider) => { asked = performance.now(); held = null; slider.dispatchEvent(again()); };
  const again = () => { const event = new Event('input', {bubbles: true}); event.fromHere = true; return event; };
  window.addEventListener('input', (event) => {
    if (!isSlider(event.target) || event.fromHere) return;
    if (asked && performance.now() - asked < LONGEST_WAIT) {
      held = event.target;
      event.stopImmediatePropagation();
    } else {
      asked = performance.now();
    }
  }, true);
  window.mixoptAnswered = () => {
    window.mixoptRoundTrip = asked ? performance.now() - asked : null;
    asked = 0;
    if (held) ask(held);
  };
})();
