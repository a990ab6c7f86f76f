# The repositories are the bootstrap's, and may be another account's. Images are named by digest, which cannot be moved.
locals {
  registry = {
    account_id = coalesce(var.registry.account_id, local.context.account_id)
    region     = coalesce(var.registry.region, local.context.region)
  }
  repositories = {
    gateway   = "${var.registry.prefix}-api"
    pipelines = "${var.registry.prefix}-pipelines"
    mlflow    = "${var.registry.prefix}-mlflow"
  }
  images = { for image, repository in local.repositories : image => {
    uri = join("", [
      local.registry.account_id, ".dkr.ecr.", local.registry.region, ".amazonaws.com/", repository, "@",
      var.image_digests[image],
    ])
    repository_arn = join(":", [
      "arn", local.context.partition, "ecr", local.registry.region, local.registry.account_id,
      "repository/${repository}",
    ])
  } }
}
