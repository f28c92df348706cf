// While an answer is awaited, moves of a slider are held back, all but the last: the browser tells of sixty a second,
// and an answer that is overtaken by the next question would never be shown.
(() => {
  const LONGEST_WAIT = 1000;  // milliseconds, after which no answer is believed to come
  const place = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set;
  let asked = 0, held = null;
  const isSlider = (element) => element instanceof HTMLInputElement && element.type === 'range';
  window.addEventListener('input', (event) => {
    if (!isSlider(event.target) || event.isHeldBack) return;
    if (asked && performance.now() - asked < LONGEST_WAIT) {
      held = {slider: event.target, at: event.target.value};
      event.stopImmediatePropagation();
    } else {
      held = null;
      asked = performance.now();
    }
  }, true);
  // Which slider or field was touched, and what it says now: the numbers in their ids are the domains'.
  const tell = (element) => window.dash_clientside.set_props(
    'touched', {data: {...JSON.parse(element.id), value: element.value, at: performance.now()}});
  const isField = (element) => element instanceof HTMLInputElement && element.id.startsWith('{"percent"');
  window.addEventListener('input', (event) => isSlider(event.target) && tell(event.target));
  window.addEventListener('keydown', (event) => event.key === 'Enter' && isField(event.target) && tell(event.target));
  window.addEventListener('focusout', (event) => isField(event.target) && tell(event.target));
  // Called once the page has an answer.
  window.mixoptAnswered = () => {
    asked = 0;
    if (!held) return;
    const {slider, at} = held;
    held = null;
    asked = performance.now();
    // The answer may have put it where it was when it was asked.
    place.call(slider, at);
    const event = new Event('input', {bubbles: true});
    event.isHeldBack = true;
    slider.dispatchEvent(event);
  };
})();
