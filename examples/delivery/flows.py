"""The workflow. Its steps are those that the services announce; none of their modules is here."""

from flow import Flow, Step

app = Flow("delivery")
done = Step.publish("deliveries.done", requires=["tell"])
supper = app.workflow("supper", "tell", done, output="tell")
