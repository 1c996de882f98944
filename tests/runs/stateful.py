"""Something to save and to resume, and an engine that changes it."""

from ignite.engine import Engine


class Counter:
    """Something with a state: the number of the last step."""

    def __init__(self):
        self.value = 0

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state):
        self.value = state["value"]


def engine_over(sampler, counter, steps):
    def step(engine, number):
        counter.value = number
        steps.append(number)

    engine = Engine(step)
    engine.state.max_epochs, engine.state.epoch_length = 3, 4
    return engine
